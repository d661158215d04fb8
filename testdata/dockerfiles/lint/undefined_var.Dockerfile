FROM scratch AS base
COPY $foo .
ARG foo=bar bare
COPY $foo $bare /x
ENV PATH=$PAHT:/tmp a=$b b=1 c=${d:-1} e=${f+1}
LABEL $g=$b
USER $h
EXPOSE $i
VOLUME $j
STOPSIGNAL $k
RUN echo $l
CMD ["$m"]
FROM base
WORKDIR /$foo$bare$n
