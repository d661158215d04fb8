# escape=`
FROM scratch
COPY a.txt C:\\
ENV P C:\Users\
LABEL a="x`"y" b=`
c
