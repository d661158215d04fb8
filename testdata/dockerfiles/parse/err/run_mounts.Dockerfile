FROM scratch
RUN --mount=from=$X,target=/x y
RUN --mount='type=bind,"a' y
RUN --mount='a"b' y
RUN --device=a,requird=true y
