FROM scratch
ENV
ENV a
ENV a=1 b
ENV =x
ENV a=b =c
