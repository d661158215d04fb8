FROM scratch
RUN echo é 한 > /ü
COPY --chown=é:ü ä ö
