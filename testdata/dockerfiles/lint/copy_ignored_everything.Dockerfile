FROM scratch
COPY . .
COPY / /x/
