FROM scratch
ENV C x\\\
ENV D y
