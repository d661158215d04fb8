FROM scratch
WORKDIR /a b
WORKDIR "quoted dir"
WORKDIR $X/y
