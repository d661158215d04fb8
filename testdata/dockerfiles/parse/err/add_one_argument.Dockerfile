FROM scratch
ADD a
ADD
