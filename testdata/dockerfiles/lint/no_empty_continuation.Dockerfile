FROM a:1
RUN a \

    b \
  # fine
    c
COPY x \


 y
