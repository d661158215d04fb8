FROM scratch
COPY --chown=é --bäd=1 x y
