"""An exchange and broker that speaks Alpaca's REST and streams."""
