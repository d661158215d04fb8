FROM scratch
RUN --mout=x y
RUN --mount y
RUN --network=none --network=host y
RUN --network=hots y
RUN --network= y
RUN --security=root y
RUN --link y
