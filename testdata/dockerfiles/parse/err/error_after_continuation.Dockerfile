FROM scratch
COPY --from=a \
   --bad=1 \
   x y
