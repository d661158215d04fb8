RUN a
COPY b c
RUN d
