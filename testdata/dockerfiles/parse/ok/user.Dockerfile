FROM scratch
USER a
USER 1000:1000
USER $U with space
