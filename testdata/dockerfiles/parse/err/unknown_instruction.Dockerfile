FROM scratch
FOO bar
RNU x
coppy a b
