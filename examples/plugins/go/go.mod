module tidy-orders

go 1.24
