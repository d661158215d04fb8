FROM scratch
CMD
CMD []
CMD ["a", "b c"]
CMD a  b
CMD ["a", ]
CMD [ 'a' ]
CMD ["a"] b
