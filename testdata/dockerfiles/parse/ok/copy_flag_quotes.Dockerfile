FROM scratch
COPY --chown="a b":c --exclude='x y' --chmod=7\55 s d
