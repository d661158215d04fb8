FROM scratch
RUN a && b | c
RUN ["a", "b"]
RUN []
RUN
RUN  [ "$HOME" ]
RUN ["a", "b" && c
