FROM scratch
HEALTHCHECK --interval=5 CMD x
HEALTHCHECK --interval=-5s CMD x
HEALTHCHECK --timeout=10us CMD x
HEALTHCHECK --retries=-1 CMD x
HEALTHCHECK --retries=x CMD x
HEALTHCHECK --retry=1 CMD x
HEALTHCHECK --start-period CMD x
