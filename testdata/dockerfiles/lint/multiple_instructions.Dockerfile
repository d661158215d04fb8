FROM scratch
ENTRYPOINT ["a"]
ENTRYPOINT ["b"]
CMD ["a"]
CMD ["b"]
HEALTHCHECK CMD ["a"]
HEALTHCHECK NONE
FROM scratch AS a
CMD ["a"]
FROM a
CMD ["b"]
CMD ["c"]
CMD ["d"]
