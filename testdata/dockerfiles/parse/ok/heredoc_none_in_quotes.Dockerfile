FROM scratch
RUN echo "<<EOF" '<<X'
RUN echo $((1<<2)) <<<here
RUN a \<<EOF
