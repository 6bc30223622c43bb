// Logs in by each URL and asks something; "works", or the error, a line each.
import java.sql.*;

public class Login {
    public static void main(String[] urls) {
        for (String url : urls) {
            try (Connection c = DriverManager.getConnection(url);
                    PreparedStatement p = c.prepareStatement("SELECT ? + 1")) {
                p.setInt(1, 41);
                ResultSet r = p.executeQuery();
                System.out.println(r.next() && r.getInt(1) == 42 ? "works" : "wrong answer");
            } catch (SQLException e) {
                System.out.println(url + " " + e.getSQLState() + " " + e.getMessage());
            }
        }
    }
}
