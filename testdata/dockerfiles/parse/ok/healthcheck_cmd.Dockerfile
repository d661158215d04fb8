FROM scratch
HEALTHCHECK --interval=1m30s --timeout=3s --start-period=0s --start-interval=500ms --retries=4 CMD curl -f http://x/ || exit 1
HEALTHCHECK cmd ["a", "b"]
HEALTHCHECK --retries=0 CMD x
HEALTHCHECK --interval= --retries= CMD x
