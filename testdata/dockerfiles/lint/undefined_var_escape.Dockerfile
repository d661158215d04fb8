# escape=`
FROM scratch
ENV a=`$b c=\$d
