FROM scratch
COPY --from=a$ b c
