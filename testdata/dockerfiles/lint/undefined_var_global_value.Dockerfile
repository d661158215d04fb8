ARG G=1
ARG H
FROM scratch
ARG G
ARG H
ENV x=$G y=$H
FROM scratch
ENV z=$G
