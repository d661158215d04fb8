FROM scratch
RUN --network=default --security=sandbox a
RUN --network=host --security=insecure a
RUN --device=vendor.com/x=all,required a
