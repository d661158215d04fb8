FROM scratch
COPY --from=build --chown=$U:$G --chmod=u+x --link --parents --exclude=a --exclude=$b x y /z/
COPY --link=false --parents=TRUE a b
