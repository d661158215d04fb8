FROM scratch
LABEL a=b "c d"="e f" g.h-i='j'
LABEL old value here
label x=$y
