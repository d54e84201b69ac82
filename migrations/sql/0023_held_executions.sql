-- Executions that the opening balance holds and that the venue takes back afterwards: there is no
-- trade of ours to turn round, so the opening balance itself is amended. `executor_reverse` of
-- 0009 goes on under another name.
ALTER FUNCTION executor_reverse(jsonb, ledger_transfers[]) RENAME TO executor_reverse_booked;

-- Take such an execution out of what the books began with: its money and its shares against the
-- account's capital, the position as if it had not been, the order. Its change of the position and
-- its reversal are one fact and have one id.
CREATE FUNCTION executor_reverse_held(e jsonb) RETURNS executor_step
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    o orders;
    p portfolio_positions;
    c position_changes;
    ev order_events;
    step executor_step;
    at timestamptz := (e->>'at')::timestamptz;
    held jsonb := e->'held';
    accounts jsonb := e->'accounts';
    gone numeric := (e->'held'->>'quantity')::numeric;
    price numeric := (e->'held'->>'price')::numeric;
    fees numeric := (e->'held'->>'fees')::numeric;
    sign integer := CASE e->'held'->>'side' WHEN 'buy' THEN 1 ELSE -1 END;
    amount numeric;
    line uuid[] := ARRAY(SELECT jsonb_array_elements_text(e->'reversal_legs'))::uuid[];
    before numeric;
    odd text;
BEGIN
    step.events := '{}';
    step.lines := '{}';
    amount := half_even(gone * price, 4);
    SELECT * INTO STRICT o FROM orders WHERE id = (e->>'order_id')::uuid FOR UPDATE;

    c.id := (e->>'reversal_id')::uuid;
    c.account_id := o.account_id;
    c.symbol := o.symbol;
    c.after_entry := 0;  -- older than everything that we booked
    c.kind := 'opening';
    c.quantity := -sign * gone;
    c.amount := sign * amount + fees;
    -- Shares that come back cost what those cost that were there.
    SELECT coalesce(min(x.cost), price) INTO c.cost FROM position_changes x
    WHERE x.account_id = c.account_id AND x.symbol = c.symbol AND x.kind = 'opening'
      AND sign(x.quantity) = sign(c.quantity);
    c.shares := jsonb_build_array(
        jsonb_build_object('strategy_id', NULL, 'quantity', c.quantity));
    c.effective_at := (held->>'executed_at')::timestamptz;
    c.booked_at := at;
    SELECT * INTO p FROM portfolio_positions
    WHERE account_id = c.account_id AND symbol = c.symbol FOR UPDATE;
    IF NOT FOUND THEN
        p := (c.account_id, c.symbol, 0, 0, 0, at, 0)::portfolio_positions;
    END IF;
    before := p.realized_pnl;
    p := position_replay(p, NULL, NULL, c);
    c.realized_pnl := p.realized_pnl - before;
    INSERT INTO position_changes (
        id, account_id, symbol, after_entry, kind, quantity, cost, amount, realized_pnl, shares,
        effective_at, booked_at)
    VALUES (
        c.id, c.account_id, c.symbol, c.after_entry, c.kind, c.quantity, c.cost, c.amount,
        c.realized_pnl, c.shares, c.effective_at, at);
    INSERT INTO portfolio_positions VALUES (
        p.account_id, p.symbol, p.quantity, p.avg_cost, p.realized_pnl, at, p.last_entry)
    ON CONFLICT (account_id, symbol) DO UPDATE SET
        quantity = excluded.quantity, avg_cost = excluded.avg_cost,
        realized_pnl = excluded.realized_pnl, updated_at = excluded.updated_at;
    INSERT INTO trade_reversals (
        broker, execution_id, id, order_id, account_id, symbol, kind, record_id, reversed_at,
        realized_pnl, correlation_id, booked_at)
    VALUES (
        e->>'broker', e->>'execution_id', c.id, o.id, o.account_id, o.symbol, e->>'reversal',
        e->>'record_id', (e->>'reversed_at')::timestamptz, 0, o.correlation_id, at);

    IF c.amount <> 0 THEN
        step.lines := step.lines || ledger_line(
            line[1],
            (CASE WHEN c.amount > 0 THEN held->>'capital_cash' ELSE accounts->>'cash' END)::uuid,
            (CASE WHEN c.amount > 0 THEN accounts->>'cash' ELSE held->>'capital_cash' END)::uuid,
            accounts->>'currency', abs(c.amount), 'direct', NULL, 'reversal', o.id, NULL,
            o.correlation_id, at);
    END IF;
    step.lines := step.lines || ledger_line(
        line[3],
        (CASE sign WHEN 1 THEN accounts->>'position' ELSE held->>'capital_position' END)::uuid,
        (CASE sign WHEN 1 THEN held->>'capital_position' ELSE accounts->>'position' END)::uuid,
        o.symbol, gone, 'direct', NULL, 'reversal', o.id, NULL, o.correlation_id, at);

    IF o.status IN ('denied', 'filled', 'canceled', 'expired', 'rejected', 'replaced') THEN
        odd := 'execution_reversed_after_end';
    END IF;
    UPDATE orders SET
        filled_quantity = orders.filled_quantity - gone,
        filled_value = orders.filled_value - amount,
        anomaly = coalesce(odd, orders.anomaly),
        event_seq = orders.event_seq + 1, updated_at = at
    WHERE id = o.id RETURNING * INTO o;
    ev := (o.id, o.event_seq, e->>'event', o.status, o.status, odd, e->'payload', at)::order_events;
    step.events := ARRAY[ev];
    step.outs := ARRAY[
        executor_envelope(
            (e->'message_ids'->>0)::uuid, 'OrderEvent', 'orders.events', e->>'ts',
            o.correlation_id, NULL, executor_order_event(o, ev)),
        executor_envelope(
            (e->'message_ids'->>1)::uuid, 'TradeReversed', 'trades.reversed', e->>'ts',
            o.correlation_id, NULL, json_build_object(
                'reversal_id', c.id, 'trade_id', held->>'trade_id', 'order_id', o.id,
                'account_id', o.account_id, 'broker', e->>'broker',
                'execution_id', e->>'execution_id', 'kind', e->>'reversal', 'symbol', o.symbol,
                'side', held->>'side', 'quantity', trim_scale(gone)::text,
                'price', trim_scale(price)::text, 'commission', '0',
                'fees', trim_scale(fees)::text,
                'executed_at', rfc3339(c.effective_at),
                'reversed_at', rfc3339((e->>'reversed_at')::timestamptz),
                'realized_pnl', trim_scale(c.realized_pnl)::text,
                'position_quantity', trim_scale(p.quantity)::text,
                'position_avg_cost', trim_scale(p.avg_cost)::text,
                'record_id', e->>'record_id',
                'strategy_id', NULL, 'signal_id', NULL))];
    step.answer := jsonb_build_object(
        'outcome', 'reversed', 'anomaly', odd, 'order', executor_standing(o),
        'realized_pnl', trim_scale(c.realized_pnl)::text,
        'position_quantity', trim_scale(p.quantity)::text,
        'position_avg_cost', trim_scale(p.avg_cost)::text);
    RETURN step;
END $$;

-- Take an execution back: one of ours, one that the opening balance holds, or, where it is neither,
-- remember it, so that it is never booked afterwards.
CREATE FUNCTION executor_reverse(e jsonb, fresh ledger_transfers[]) RETURNS executor_step
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    IF jsonb_typeof(e->'held') = 'object'
       AND NOT EXISTS (SELECT 1 FROM trade_reversals x
                       WHERE x.broker = e->>'broker' AND x.execution_id = e->>'execution_id')
       AND NOT EXISTS (SELECT 1 FROM trades x
                       WHERE x.broker = e->>'broker' AND x.execution_id = e->>'execution_id') THEN
        RETURN executor_reverse_held(e);
    END IF;
    RETURN executor_reverse_booked(e, fresh);
END $$;
