FROM scratch
COPY
COPY a
COPY ["a"]
COPY --from=x /a
