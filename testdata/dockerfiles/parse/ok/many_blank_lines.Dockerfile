


FROM scratch



RUN a

