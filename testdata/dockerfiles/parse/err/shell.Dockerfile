FROM scratch
SHELL
SHELL []
SHELL bash -c
SHELL ["a", 1]
