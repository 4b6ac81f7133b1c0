-- Who orders calls again and again? A second attempt of the same order is none.
-- Кто заказывает звонок снова и снова? Вторая попытка по тому же заказу не в счёт.
SELECT client_phone, count(*) AS orders, min(date) AS first_order, max(date) AS last_order
FROM calls
WHERE coalesce(attempt, 1) = 1 AND outcome NOT IN ('duplicate', 'test')
GROUP BY client_phone
HAVING count(*) > 1
ORDER BY orders DESC, client_phone
