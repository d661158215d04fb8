FROM win:1
CMD a
