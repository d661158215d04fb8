FROM scratch AS a
COPY Dockerfile sub/x /x/
ADD Dockerfile https://x/Dockerfile /y/
COPY --from=b /Dockerfile /z
COPY ./Dockerfile /Dockerfile /w/
COPY . /all/
COPY other /o
