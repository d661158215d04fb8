FROM a:1
WORKDIR /app
COPY . .
RUN --mount=type=cache,target=/app x
RUN --mount=type=cache,target=/app/node_modules x
RUN --mount=target=. x
RUN --mount=type=tmpfs,target=/ap x
RUN --mount=type=secret,id=x,target=/app/y x
RUN --mount=type=tmpfs,target=/tmp x
COPY a /tmp/a/b
RUN --mount=type=tmpfs,target=/tmp x
