FROM scratch
# check=skip=UndefinedVar // because
COPY $x .
# check=error=true
# check=skip=all
RUN a
# not=check
RUN b
