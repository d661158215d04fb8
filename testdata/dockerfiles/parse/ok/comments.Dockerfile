# first

  # indented
FROM scratch
#RUN no
RUN a # part of it
