FROM scratch
ENV --x a=b
LABEL --y a=b
