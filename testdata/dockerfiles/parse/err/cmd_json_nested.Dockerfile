FROM scratch
CMD ["a", ["b"]]
ENTRYPOINT [null]
RUN [1]
SHELL [{}]
