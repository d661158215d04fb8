FROM scratch
ADD --from=x a b
ADD --parents a b
ADD --checksm=x a b
