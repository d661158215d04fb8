FROM scratch
RUNa
COPYa  b
