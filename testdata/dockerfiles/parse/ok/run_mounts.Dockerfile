FROM scratch
RUN --mount=type=cache,target=/c --mount=type=bind,from=x,target=/b,rw --mount="type=secret,id=a b" a
RUN --mount=type=$T,target=${D} --mount='type=bind,"source=a,b",target=/x' b
