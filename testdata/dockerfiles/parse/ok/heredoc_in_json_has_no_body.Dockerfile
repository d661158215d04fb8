FROM scratch
COPY ["<<EOF", "/x"]
RUN ["<<EOF"]
