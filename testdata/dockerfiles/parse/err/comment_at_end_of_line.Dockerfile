FROM scratch # not a comment
ENV a=b # nor this
WORKDIR /x # part of it
