FROM scratch
ONBUILD RUN a  b
onbuild   copy --link . /x
ONBUILD ENV a=b
ONBUILD RUN ["x"]
