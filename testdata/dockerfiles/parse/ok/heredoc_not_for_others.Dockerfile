FROM scratch
CMD cat <<EOF
LABEL a=<<EOF
ENV b="<<EOF"
