FROM scratch
COPY -- --a --b /c
COPY --link -- a b
