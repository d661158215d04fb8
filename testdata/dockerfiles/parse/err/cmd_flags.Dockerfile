FROM scratch
CMD --x a
ENTRYPOINT --y=1 b
