# escape=`
# escape=\
FROM scratch
RUN x
