FROM scratch
CMD ["\u2665\n", "\"", "\\"]
